"""How far two positions are from each other."""

from math import asin, cos, degrees, hypot, radians, sin, sqrt


def separation(ra: float, dec: float, other_ra: float, other_dec: float) -> float:
    """The angle between two positions; all in degrees."""
    lat, other = radians(dec), radians(other_dec)
    across = sqrt(cos(lat) * cos(other)) * sin(radians(other_ra - ra) / 2)
    return degrees(2 * asin(min(1.0, hypot(sin((other - lat) / 2), across))))

"""Every data service that can be installed beside tomtoolkit 3.1: its real class, against a stub.

What comes is right, or it is named with the reason. What they do wrong does not reach the TOM's data.
"""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.utils import timezone
from pyvo.dal import DALServiceError
from tom_dataproducts.models import PhotometryReducedDatum
from tom_dataservices.data_services import simbad
from tom_dataservices.models import DataServiceQuery
from tom_targets.models import Target, TargetExtra, TargetName

from needs import need
from tom_auto.models import ServiceTarget

from .brokers import (
    MPC,
    NED,
    TNS,
    brightness,
    names,
    ned_table,
    save_query,
    tns,
    updatetargets,
)
from .service_classes import FakeSimbad

pytestmark = pytest.mark.django_db(transaction=True)
FINK, ANTARES = 'api.ztf.fink-portal.org', 'api.antares.noirlab.edu'
SCOUT, HERMES, TFYI = 'ssd-api.jpl.nasa.gov', 'hermes.lco.global', 'transients.fyi'
HTML = 200, b'<html>Down for maintenance</html>'
JD = 2461000.6  # of the first point of every light curve, and one a day after


@pytest.fixture(autouse=True)
def plugins():
    """The services that are no part of tomtoolkit."""
    missing = [app for app in settings.PLUGINS if app not in settings.INSTALLED_APPS]
    need(not missing, f'{", ".join(missing)} (make unit installs them)')


def alert(name, day, magnitude=18.0, **more):
    """An alert of Fink."""
    shown = {
        'i:objectId': name, 'i:ra': 10.0, 'i:dec': 20.0, 'i:jd': JD + day, 'i:fid': 1,
        'i:magpsf': magnitude, 'i:candid': day, 'd:rf_snia_vs_nonia': 0.5, 'd:cdsxmatch': 'Unknown',
    }  # fmt: skip
    return shown | more


def fink(*alerts):
    """Fink, with these alerts."""

    def answer(path, body):
        asked = body.get('objectId')
        return 200, [one for one in alerts if asked in (None, one['i:objectId'])]

    return answer


def locus(name, ztf, magnitude=18.0):
    """A locus of Antares, as JSON:API has it."""
    line = {
        'ant_mjd': JD - 2400000.5, 'ant_mag': magnitude, 'ant_magerr': 0.1, 'ant_maglim': 20.5,
        'ant_passband': 'g', 'ant_survey': 1, 'time': '2025-11-21 02:24:00.000', 'alert_id': 'a',
        'ant_time_received': '2025-11-21 02:30:00.000', 'ant_ra': 10.0, 'ant_dec': 20.0,
    }  # fmt: skip
    frame = ','.join(line) + '\n' + ','.join(map(str, line.values())) + '\n'
    return {
        'type': 'locus', 'id': name,
        'attributes': {
            'ra': 10.0, 'dec': 20.0, 'htm16': 1, 'tags': [], 'catalogs': [],
            'properties': {'ztf_object_id': ztf, 'newest_alert_magnitude': magnitude},
            'lightcurve': frame,
        },
    }  # fmt: skip


def antares(*loci):
    """Antares: a list of loci without light curves, and each with it."""

    def answer(path, body):
        path, _, query = path.partition('?')
        if path.endswith('/loci/statistics'):
            return 200, {'data': {'type': 's', 'id': '1', 'attributes': {'tags': {}}}}
        if path.endswith('/loci'):
            asked = parse_qs(query).get('elasticsearch_query[locus_listing]', [''])[0]
            found = [
                one for one in loci if one['attributes']['properties']['ztf_object_id'] in asked
            ]
            return 200, {'data': [_listed(one) for one in found or loci], 'links': {}}
        return 200, {'data': next(one for one in loci if path.endswith(one['id']))}

    return answer


def _listed(one):
    kept = {key: value for key, value in one['attributes'].items() if key != 'lightcurve'}
    return one | {'type': 'locus_listing', 'attributes': kept}


def scout(*found, version='1.3'):
    """Scout: a list of objects, and each with its orbit."""
    signature = {'source': 'NASA/JPL Scout API', 'version': version}

    def answer(path, body):
        asked = parse_qs(urlsplit(path).query).get('tdes')
        if not asked:
            return 200, {'signature': signature, 'count': len(found), 'data': list(found)}
        one = next(one for one in found if one['objectName'] == asked[0])
        fields = ['w', 'om', 'inc', 'ec', 'epoch', 'tp', 'qr', 'H']
        data = ['10', '20', '5', '0.5', '2461000.5', '2461100.5', '1.1', '20']
        return 200, one | {'signature': signature, 'orbits': {'fields': fields, 'data': [data]}}

    return answer


def neo(name):
    """An object of Scout."""
    return {
        'objectName': name, 'nObs': 5, 'neoScore': 90, 'neo1kmScore': 0, 'phaScore': 1,
        'ieoScore': 0, 'geocentricScore': 0, 'rating': 1, 'caDist': '5.0', 'arc': '12', 'rmsN': '0.3',
        'unc': '10', 'uncP1': '20', 'Vmag': '20', 'rate': '2', 'ra': '08:54', 'dec': '+10',
        'tEphem': '2026-01-01 00:00', 'lastRun': '2026-01-01 01:00',
    }  # fmt: skip


def hermes(*found, photometry=()):
    """Hermes: targets, each in one message, which has aliases and photometry."""

    def answer(path, body):
        path, _, query = path.partition('?')
        if '/message/' in path:
            name = path.rstrip('/').rpartition('/')[2]
            table = [{'name': name, 'aliases': [f'{name}-alias']}]
            points = [{'target_name': name, **point} for point in photometry]
            return 200, {'message': {'data': {'targets': table, 'photometry': points}}}
        exact = parse_qs(query).get('name_exact', [''])[0]
        rows = [
            {
                'name': name,
                'right_ascension': 10.0,
                'declination': 20.0,
                'messages': [{'uuid': name}],
            }
            for name in found
        ]
        return 200, {'results': [row for row in rows if exact in ('', row['name'])]}

    return answer


def transients(*found):
    """transients.fyi: rows, and the detections of each."""

    def answer(path, body):
        path = path.partition('?')[0]
        if path.endswith('/detections'):
            point = {'mjd': 61000.1, 'band': 'o', 'mag': 17.0, 'mag_err': 0.1, 'origin': 'atlas'}
            return 200, {'detections': [point], 'limits': []}
        rows = [
            {'survey': 'tns', 'object_id': name, 'tns_name': f'SN {name}', 'ra': 10.0, 'dec': 20.0}
            for name in found
        ]
        if path == '/api/objects':
            return 200, {'rows': rows}
        return 200, next(row for row in rows if path.endswith(row['object_id']))

    return answer


def planet(path, body):
    """The Minor Planet Center, with Bennu."""
    orbit = {
        'designation_data': {
            'unpacked_primary_provisional_designation': '1999 RQ36', 'orbfit_name': '101955',
            'name': 'Bennu', 'unpacked_secondary_provisional_designations': [],
        },
        'magnitude_data': {'H': 20.2, 'G': 0.15}, 'epoch_data': {'epoch': 61000.0},
        'categorization': {'object_type_int': 2},
        'COM': {
            'coefficient_names': ['q', 'e', 'i', 'node', 'argperi', 'peri_time'],
            'coefficient_values': [0.9, 0.2, 6.0, 2.0, 66.0, 61100.0],
        },
    }  # fmt: skip
    return 200, [{'mpc_orb': [orbit]}, 200]


@pytest.fixture
def asked(broker, alerce, monkeypatch):
    """All ten services, each with something to find, and a query for each."""
    monkeypatch.setattr(simbad, 'Simbad', FakeSimbad)
    alerce.add('ZTF26alerce')
    broker.hosts |= {
        TNS: tns('2026tns'), MPC: planet, FINK: fink(alert('ZTF26fink', 0), alert('ZTF26fink', 1)),
        NED: lambda path, body: (200, ned_table('NGC 0598', 23.46, 30.66)),
        ANTARES: antares(locus('ANT26a', 'ZTF26antares')), SCOUT: scout(neo('P10scout')),
        HERMES: hermes('Hermes1'), TFYI: transients('2026tfyi'),
    }  # fmt: skip
    queries = {
        'ALeRCE': {'survey': 'ZTF'}, 'TNS': {}, 'MPC Explorer': {'designation': '101955'},
        'NED': {'object_id': 'M 33'}, 'Simbad': {'search_term': 'M 31'},
        'Fink': {'classsearch': 'SN candidate, 10'}, 'Antares': {'nobs__gt': 1, 'max_alerts': 20},
        'Scout': {'neo_score_min': 1}, 'Hermes': {'target_name': 'Hermes'},
        'transients.fyi': {'window': '7d', 'source': 'all'},
    }  # fmt: skip
    for service, fields in queries.items():
        save_query(service, f'of {service}', **fields)
    return broker


def errors(report):
    return {one['facility']: one['error'] for one in report['failures']}


def everything():
    return (
        list(Target.objects.order_by('pk').values('name', 'ra', 'dec', 'modified')),
        list(TargetName.objects.order_by('pk').values('name', 'target')),
        list(TargetExtra.objects.order_by('pk').values('key', 'value')),
        list(PhotometryReducedDatum.objects.order_by('pk').values()),
    )


def test_what_all_ten_find_is_right_and_there_once(asked):
    status, report = updatetargets()
    assert (status, report['found'], report['new']) == (0, 10, 10), report
    assert names() == sorted([
        '101955', 'ANT26a', 'Hermes1', 'M 31', 'M 33', 'P10scout', 'SN 2026tfyi', 'SN2026tns',
        'ZTF26alerce', 'ZTF26fink',
    ])  # fmt: skip
    aliases = dict(TargetName.objects.values_list('name', 'target__name'))
    assert aliases.items() >= {
        'Bennu': '101955', 'ZTF26antares': 'ANT26a', 'NGC 0598': 'M 33', 'Hermes1-alias': 'Hermes1',
    }.items()  # fmt: skip
    assert brightness('ZTF26fink') == [18.0, 18.0]
    assert brightness('ANT26a') == [18.0]
    assert brightness('ZTF26alerce') == [18.0, 18.5]
    assert brightness('SN 2026tfyi') == [17.0]
    assert Target.objects.get(name='P10scout').eccentricity == 0.5

    once = everything()
    status, report = updatetargets()
    assert (status, report['new'], report['refreshed']) == (0, 0, 0), report
    assert everything() == once


SERVICES = {
    'Fink': FINK, 'Antares': ANTARES, 'Scout': SCOUT, 'Hermes': HERMES, 'transients.fyi': TFYI,
}  # fmt: skip


@pytest.mark.parametrize('answer', [HTML, (500, {}), (429, {}), (403, {})], ids=str)
def test_what_is_no_answer_is_named_for_each(asked, answer):
    asked.hosts |= dict.fromkeys(SERVICES.values(), lambda path, body: answer)
    status, report = updatetargets()
    assert status == 1
    assert errors(report).keys() == SERVICES.keys(), errors(report)
    assert len(names()) == 5, 'the others are all there'
    if answer == HTML:
        assert all('not JSON' in error for error in errors(report).values()), errors(report)
    else:
        assert all(str(answer[0]) in error for error in errors(report).values()), errors(report)


def again():
    """Let the data of all targets be due."""
    ServiceTarget.objects.update(answered_at=None)


def test_fink_says_that_every_error_is_zero(asked):
    updatetargets('--service', 'Fink')
    errors_of = PhotometryReducedDatum.objects.values_list('brightness_error', flat=True)
    assert list(errors_of) == [None, None]


def test_fink_changes_a_number_of_an_alert_and_adds_one(asked):
    """It looks a point up by all that an alert says."""
    updatetargets('--service', 'Fink')
    asked.hosts[FINK] = fink(
        alert('ZTF26fink', 0, **{'d:rf_snia_vs_nonia': 0.7}), alert('ZTF26fink', 1),
        alert('ZTF26fink', 2, magnitude=19.0),
    )  # fmt: skip
    again()
    status, report = updatetargets('--service', 'Fink')
    assert status == 0, report
    assert brightness('ZTF26fink') == [18.0, 18.0, 19.0]


def test_fink_saved_by_an_older_version(asked):
    DataServiceQuery.objects.filter(data_service='Fink').update(
        parameters={'objectId': 'ZTF26fink'}
    )
    status, report = updatetargets('--service', 'Fink')
    assert status == 1 and 'not of this version of Fink' in errors(report)['Fink']


def test_fink_does_not_know_a_target_without_a_name_of_ztf(asked):
    other = Target.objects.create(name='mine', type='SIDEREAL', ra=1, dec=2)
    ServiceTarget.objects.create(target=other, service='Fink')
    status, report = updatetargets('--service', 'Fink')
    assert (status, brightness('ZTF26fink')) == (1, [18.0, 18.0])
    [failure] = report['failures']
    assert failure['observation_id'] == 'mine' and "'ZTF'" in failure['error']


def test_antares_gives_each_target_its_own_light_curve(asked):
    """With one instance the second target gets that of the first."""
    asked.hosts[ANTARES] = antares(locus('ANT26a', 'ZTF26a', 18.0), locus('ANT26b', 'ZTF26b', 19.0))
    updatetargets('--service', 'Antares')
    PhotometryReducedDatum.objects.all().delete()
    for name in ('ANT26a', 'ANT26b'):
        target = Target.objects.get(name=name)
        ServiceTarget.objects.update_or_create(target=target, service='Antares')
    again()
    status, report = updatetargets('--service', 'Antares')
    assert (brightness('ANT26a'), brightness('ANT26b')) == ([18.0], [19.0]), report


def test_antares_breaks_on_a_target_without_a_name_of_its_own(asked):
    other = Target.objects.create(name='mine', type='SIDEREAL', ra=1, dec=2)
    ServiceTarget.objects.create(target=other, service='Antares')
    status, report = updatetargets('--service', 'Antares')
    assert status == 1 and brightness('mine') == []
    assert [one['observation_id'] for one in report['failures']] == ['mine']
    assert brightness('ANT26a') == [18.0]


def test_hermes_has_no_times_so_its_points_are_not_stored(asked):
    """They would get the time of the run, and those of two nights would be one."""
    point = {'telescope': 't', 'brightness': 17.0, 'bandpass': 'r', 'brightness_unit': 'AB mag',
             'date_obs': '2026-01-01T00:00:00'}  # fmt: skip
    asked.hosts[HERMES] = hermes('Hermes1', photometry=[point])
    status, report = updatetargets('--service', 'Hermes')
    assert (status, names(), brightness('Hermes1')) == (1, ['Hermes1'], [])
    assert 'gives no time for its points' in errors(report)['Hermes']


def test_hermes_gives_each_query_its_own_answer(asked):
    """It keeps its first answer."""
    asked.hosts[HERMES] = hermes('Hermes1', 'Hermes2')
    save_query('Hermes', 'another', target_name='Hermes2')
    updatetargets('--service', 'Hermes')
    assert names() == ['Hermes1', 'Hermes2']


def test_a_message_of_hermes_that_does_not_come_is_named(asked):
    plain = hermes('Hermes1')
    asked.hosts[HERMES] = lambda path, body: (500, {}) if '/message/' in path else plain(path, body)
    status, report = updatetargets('--service', 'Hermes')
    assert (status, names()) == (1, ['Hermes1'])
    assert '500' in errors(report)['Hermes']


def test_scout_of_another_version_is_not_an_empty_answer(asked):
    asked.hosts[SCOUT] = scout(neo('P10scout'), version='1.4')
    status, report = updatetargets('--service', 'Scout')
    assert status == 1
    assert 'does not match expected signature' in errors(report)['Scout']


def test_scout_renames_a_target_and_does_not_make_it_again(asked):
    """`updatescout` keeps the old name as an alias."""
    updatetargets('--service', 'Scout')
    target = Target.objects.get()
    Target.objects.update(name='2026 AB1')
    TargetName.objects.create(target=target, name='P10scout')
    status, report = updatetargets('--service', 'Scout')
    assert (status, names()) == (0, ['2026 AB1']), report


def test_tns_and_transients_know_one_supernova_by_two_spellings(asked):
    asked.hosts |= {TNS: tns('2026ab'), TFYI: transients('2026ab')}
    updatetargets('--service', 'TNS', '--service', 'transients.fyi')
    assert len(names()) == 1
    assert updatetargets('--service', 'TNS', '--service', 'transients.fyi')[1]['new'] == 0


class SimbadIsAway:
    """As its client is without a network: it asks as it is made."""

    def __init__(self):
        raise DALServiceError('Unable to access the capabilities endpoint')


class SimbadKnowsNothing(FakeSimbad):
    """As its client of some versions says so."""

    def query_object(self, name):
        return None


@pytest.mark.parametrize('client', [SimbadIsAway, SimbadKnowsNothing])
def test_simbad_that_is_away_or_knows_nothing_is_named_alone(asked, monkeypatch, client):
    monkeypatch.setattr(simbad, 'Simbad', client)
    status, report = updatetargets()
    assert (status, report['new'], errors(report).keys()) == (1, 9, {'Simbad'}), report


def test_tns_counts_its_days_in_utc(asked, monkeypatch):
    """Its class takes the time of the machine."""
    heard, plain = [], tns('2026tns')

    def answer(path, body):
        heard.append(json.loads(body['data'])['public_timestamp'])
        return plain(path, body)

    asked.hosts[TNS] = answer
    DataServiceQuery.objects.filter(data_service='TNS').update(parameters={'days_ago': 1})
    monkeypatch.setenv('TZ', 'Pacific/Auckland')
    time.tzset()
    try:
        updatetargets('--service', 'TNS')
    finally:
        monkeypatch.undo()
        os.environ['TZ'] = settings.TIME_ZONE
        time.tzset()
    since = datetime.fromisoformat(heard[0]).replace(tzinfo=UTC)
    assert abs(timezone.now() - timedelta(days=1) - since) < timedelta(minutes=5)


def test_alerce_changes_an_error(asked, alerce):
    updatetargets('--service', 'ALeRCE')
    alerce.curves['ZTF26alerce']['detections'][0]['sigmapsf'] = 0.03
    again()
    status, report = updatetargets('--service', 'ALeRCE')
    assert (status, brightness('ZTF26alerce')) == (0, [18.0, 18.5]), report
    assert PhotometryReducedDatum.objects.earliest().brightness_error == 0.03

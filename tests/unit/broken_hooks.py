"""Hooks that cannot be imported."""

raise SystemExit('the hooks end here')

"""Keeps a TOM's data up to date, unattended. This module imports nothing.

| room | what happens there |
|---|---|
| `sync` | `updatedata`: what is due, the observatories, the data |
| `scheduling` | what runs when, and how cron, systemd and Kubernetes are told; no Django |
| `page` | `/automation/`: views, tables, charts, buttons, JSON, metrics |
| `observatory` | a simulated observatory, for the demo and the tests |
| `access` | who may see what, and who may act |
| `health` | is it working? |
| `alerts` | mail, webhook, dead-man's switch |
| `doctor` | checks the machine and its surroundings |
| `jobs` | the jobs of schedule.toml, as Django sees them |
| `conf` | the settings, `TOM_AUTO` |
"""

__version__ = '0.2.0'

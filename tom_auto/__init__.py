"""Keeps a TOM's data up to date, unattended. This module imports nothing.

| module | what it does |
|---|---|
| `sync` | `updatedata`: what is due, the observatories, the data |
| `targets` | `updatetargets`: candidates of saved queries, and the data of targets |
| `scheduling` | what runs when, for cron, systemd and Kubernetes; needs no Django |
| `page` | `/automation/`: views, tables, charts, buttons, JSON, metrics |
| `observatory` | a simulated observatory, for the demo and the tests |
| `access` | who may see what, and who may act |
| `job_state` | the states of a job, and the sentence for each |
| `health` | is it working? Every other place repeats what it says |
| `alerts` | what is news about a job, and who has to hear it |
| `channels` | mail, webhook, dead-man's switch, and what was told by them |
| `doctor` | what to fix: checks the machine, the observatories and the schedule |
| `data_files` | serves data files to those who may see them |
| `middleware` | what the automation adds to every page |
| `backup` | `manage.py backup`: database and data in one file, proved before it counts |
| `restore` | `manage.py restore`: puts a backup in the place of what is there |
| `database_copies` | copies of the whole database, by SQLite's and PostgreSQL's own means |
| `demo` | the invented targets and observations of `manage.py demo` |
| `run_job` | runs a job of schedule.toml, whatever its command, and records its run |
| `jobs` | the jobs of schedule.toml, as Django sees them |
| `checks` | `manage.py check`: facilities and jobs |
| `conf` | the settings, `TOM_AUTO` |
| `environment` | reads `.env` for the settings; makes it, without packages |
| `new_targets` | who may see the targets that `updatetargets` makes |
| `error_reports` | Django's error pages and mails, without secrets |
| `sentry` | sends errors to Sentry, without secrets |
| `log_config` | a `LOGGING` for the settings: a log that rotates, without secrets |
"""

__version__ = '0.2.0'

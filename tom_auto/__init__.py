"""Keeps a TOM's data up to date, unattended. This module imports nothing.

| module | what it does |
|---|---|
| `sync` | `updatedata`: what is due, what became of it, the data |
| `hooks` | the hooks of a TOM: how they are called, and which are owed |
| `running` | how a job runs: one run of it at a time, its threads, and what came of it |
| `files` | the files of data products: where they lie, and whether they are whole |
| `observatories` | asks facility classes, portals and archives |
| `arrivals` | what came in, as pictures, and who is told of it |
| `targets` | `updatetargets`: candidates of saved queries, and the data of targets |
| `audit` | `auditdata`: reads every stored file against its checksum |
| `backups` | `manage.py backup` and `restore`: database and data in one file, proved before it counts |
| `scheduling` | what runs when, for cron, systemd and Kubernetes; needs no Django |
| `celery_tasks` | `TASK_ENGINE=celery`: batches and hooks as tasks of workers on many machines, and beat |
| `page` | `/automation/`: views, tables, charts, buttons, JSON, metrics |
| `simulator` | a simulated observatory, for the demo and the tests |
| `access` | who may see what, and who may act |
| `known_outcomes` | how runs went, and since when, as far as a visitor may know |
| `health_states` | the states of a job, and the sentence for each |
| `lateness` | since when a job is overdue |
| `health` | is it working? Every other place repeats what it says |
| `alerts` | what is news about a job, and who has to hear it |
| `channels` | mail, webhook, dead-man's switch, and what was told by them |
| `doctor` | what to fix: checks the machine, the observatories and the schedule |
| `data_files` | serves data files to those who may see them |
| `ask_first` | what tomtoolkit changes by a GET is done by POST, after a page that asks |
| `middleware` | what the automation adds to every page |
| `demo` | the invented targets and observations of `manage.py demo` |
| `demo_candidate` | the candidate of the demo: a broker announces it, a cadence observes it |
| `adoption` | what older commands had lost or damaged, and what was brought home |
| `run_job` | runs a job of schedule.toml, whatever its command, and records its run |
| `order_of_jobs` | jobs of the same minute begin one after another, whoever starts them |
| `jobs` | the jobs of schedule.toml, as Django sees them |
| `checks` | `manage.py check`: facilities and jobs |
| `startup` | quicker commands: no garbage is looked for while a TOM starts |
| `models` | the tables of the library; `admin` and `apps` are as Django wants them |
| `management` | the commands: each parses, calls, and prints |
| `interrupt` | ends a process after a time, or at a signal |
| `redact` | takes secrets out of texts |
| `conf` | the settings, `TOM_AUTO` |
| `errors` | what can go wrong; the type decides, the text is for a person |
| `explain` | turns any exception into one of `errors`, with a text that a person can act on |
| `db_retry` | waits for a database that has gone away, or that another program keeps to itself |
| `versions` | which versions a TOM has: library, template, and the packages they need |
| `environment` | reads `.env` for the settings; makes it, without packages |
| `new_target_access` | who may see the targets that `updatetargets` makes |
| `media_store` | a `STORAGES` for the settings: the data in an S3-compatible store |
| `s3_storage` | the storage that `media_store` names |
| `error_reports` | Django's error pages and mails, without secrets; answers that are no error |
| `sentry` | sends errors to Sentry, without secrets |
| `log_config` | a `LOGGING` for the settings: a log that rotates, without secrets |
"""

__version__ = '0.2.0'

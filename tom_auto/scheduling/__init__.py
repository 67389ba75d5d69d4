"""What runs when, and how each scheduler is told. Needs no Django.

The template's hook, `hooks/post_gen_project.py`, asks for consent before it has a crontab written.

| module | what it does |
|---|---|
| `cli` | The actions of `manage.py schedule` and of `python -m tom_auto.scheduling` |
| `cron_block` | Finds and replaces a project's marked block in the bytes of a crontab. Touches nothing else |
| `cron_daemon` | Says whether a cron daemon runs on this machine |
| `cron_expression` | Says when a job runs as the five fields of cron, and refuses what cron would get wrong |
| `cron_line` | Turns the schedule into lines of crontab(5). For others: systemd.py and kubernetes.py |
| `cron_table` | Reads and writes this user's crontab as bytes, through crontab(1), one writer at a time |
| `definition` | Reads schedule.toml, the one place that says what runs when |
| `install` | Puts the project's lines into this user's crontab, and takes them out again |
| `interpreter` | Chooses the Python that runs the jobs: the project's own, never one that just happens by |
| `job_log` | Keeps the log of the jobs small: what is full is set aside, and the oldest goes |
| `kubernetes` | Turns the schedule into CronJobs of Kubernetes |
| `moved` | Tells a project that was moved from another project whose place is gone |
| `next_times` | Says when a job runs next, and puts its expression into words. Needs packages of the TOM |
| `obstacles` | What in a machine keeps an installed line from doing its work, without anyone saying so |
| `runner` | `manage.py schedule run`: starts the jobs where there is no cron, such as in a container |
| `status` | Says whether the crontab holds what schedule.toml wants, and what would keep it from running |
| `systemd` | Turns the schedule into units of systemd, and installs them for this user |
"""

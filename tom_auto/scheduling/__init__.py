"""What runs when, for cron, systemd and Kubernetes. Needs no Django.

The template's hook, `hooks/post_gen_project.py`, asks for consent before it installs a crontab line.

| module | what it does |
|---|---|
| `adopt` | `schedule init`: a schedule.toml for a TOM that has none, in place of an older line of cron |
| `cli` | The actions of `manage.py schedule` and of `python -m tom_auto.scheduling` |
| `cron_block` | Finds and replaces a project's marked block in a crontab, and touches nothing else |
| `cron_expression` | Turns "hourly" into the five fields of cron, and refuses fields that cron would misread |
| `cron_line` | Turns the schedule into lines of crontab(5) |
| `cron_table` | Reads and writes this user's crontab as bytes, through crontab(1), one writer at a time |
| `definition` | Reads schedule.toml, which says what runs when |
| `install` | Puts the project's lines into this user's crontab, removes them, and says whether they work |
| `interpreter` | Chooses the Python that runs the jobs: the project's own |
| `job_log` | The log of the jobs, and its rotation |
| `kubernetes` | Turns the schedule into Kubernetes CronJobs |
| `moved` | Distinguishes a project that was moved from another one that is gone |
| `next_times` | Computes when a job runs next, and puts its expression into words. Needs packages of the TOM |
| `obstacles` | Finds what on this machine would silently keep an installed line from running |
| `older_lines` | Finds the lines of a crontab that run an older command of a project, and what else they do |
| `plan` | What runs for a project: its jobs, and the words that start them |
| `command_to_type` | The command to type for a command of manage.py, where a person reads its name |
| `runner` | `manage.py schedule run` without a name: starts the jobs without cron, for example in a container |
| `zone` | The time zone of the schedule, on a host and in its containers |
| `systemd` | Turns the schedule into systemd units, and installs them for this user |
"""

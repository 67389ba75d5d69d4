"""What to fix: `manage.py doctor` checks the machine, the observatories and the schedule.

| module | what it does |
|---|---|
| `checks` | All checks, and those of the machine, the database and the jobs |
| `finding` | What a check finds |
| `network` | What a shell has for the network, and the schedule lacks |
| `observatories` | Do the observatories answer, and take the token? Is the clock right? |
| `privacy` | What other users of this machine can look into |
| `targets` | Can the saved queries be run, and do the cadences go on? |
| `workers` | Can Celery work, and does it? |
"""

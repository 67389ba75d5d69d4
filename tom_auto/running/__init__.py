"""How a job runs: one run of it at a time, recorded, with a deadline, threads and one connection to the database.

| module | what it does |
|---|---|
| `backoff` | How long to wait after failures |
| `failures` | Writes what failed in a run |
| `heartbeat` | Says that a process is alive, in a thread of its own, for as long as its work goes on |
| `outcomes` | What came of checking one record, and of a whole run |
| `recorded_run` | What surrounds the work of a run: its row, its deadline, its limits on requests and the database |
| `runs` | One run of a job at a time, who started it, and the history of runs |
| `sharing` | Who else works for a run: others may run its hooks, and check a part of its records |
| `threads` | The threads of a run: they ask observatories and fetch files, and never touch the database |
| `database_jobs` | What the main thread does with the database for several records at once |
"""

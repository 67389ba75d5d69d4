"""Work for many machines, with Celery: `TASK_ENGINE=celery`. Only `setup` works without Celery.

| module | what it does |
|---|---|
| `setup` | Is Celery set up so that it can work? Every command that needs it asks first |
| `app` | The Celery application, with its defaults; `CELERY_…` in the settings change them |
| `sending` | Sends messages to workers, without waiting for a broker that is away |
| `coordinator` | Cuts what is due in a run into batches, gives them to workers, and counts what comes of them |
| `lists` | The lists of the observatories, which a run reads once, and of which each worker is told its part |
| `batches` | Some of the records of a run, which a worker checks |
| `leases` | What one process at a time does, on one host or many |
| `beat` | `celery beat` with the jobs of schedule.toml |
| `tasks` | What workers do |
| `hand_out` | Has workers run the hooks of a run, or lets the run do it where none can be told |
| `workers` | Sees at its start that a worker can work, and notes which are at work |
"""

"""The pages below /automation/.

| module | what it does |
|---|---|
| `actions` | What people can start from the page: a run now, a retry, a pause |
| `at_work` | What Celery is at, and the button for hooks that fail again and again |
| `buttons` | The buttons of the automation page, and the progress of the run they start |
| `charts` | The last weeks in pictures: plain SVG, drawn by a template, without scripts |
| `freshness` | How fresh the data of each facility is, and what is wrong with it |
| `muting` | What people are told, and what they mute |
| `monitoring` | The state of the automation for other programs: JSON, and text for Prometheus |
| `run_log` | The lines of the TOM's log from the time of one run |
| `tables` | The tables of the automation's pages, and their filters |
| `urls` | The URLs below /automation/ |
| `views` | The pages: is it working, and what failed |
"""

"""The pages below /automation/.

| module | what it does |
|---|---|
| `actions` | What people can start from the page: a run now, a retry, a pause |
| `buttons` | What the buttons of the automation's page do, and how the page shows what comes of it |
| `charts` | The last weeks in pictures: plain SVG, drawn by a template, without any script |
| `freshness` | How fresh the data of each facility is, and what is wrong with it |
| `monitoring` | The state of the automation for machines: JSON, and text for Prometheus |
| `run_log` | What the TOM's log says about one run |
| `tables` | The tables of the automation's pages, and what they can be narrowed down to |
| `urls` | The addresses of the automation's pages, below /automation/ |
| `views` | The pages of the automation: is it working, and what went wrong |
"""

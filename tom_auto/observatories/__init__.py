"""Asks the observatories: their facility classes, the lists of their portals and archives, in good manners.

| module | what it does |
|---|---|
| `archive_lists` | Which frames many requests have, from the lists of an archive of LCO's kind: rule 17 |
| `asked_class` | A facility class that is not of LCO's kind, as it is asked in its process |
| `facilities` | Asks facility classes, each as it is, and turns what they answer into plain things |
| `facility_process` | Facility classes that are not of LCO's kind, each at work in a process of its own: rule 4 |
| `frames` | Frames, as the archives of observatories and facility classes list them, each or many at once |
| `http` | How requests leave the TOM: every wait ends, and no answer is without a limit |
| `portal_lists` | What became of many observation requests at once, from the lists of a portal of LCO's kind |
| `portal_pages` | Asks portals and archives of LCO's kind, and reads the pages of a list as far as they are worth it |
| `retries` | Which requests are made again, and when |
| `turns` | How many threads ask one host at a time: as many as keep the CPU at work |
"""

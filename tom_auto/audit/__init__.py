"""`auditdata`: reads every stored file against its checksum, a share of them at each run.

| module | what it does |
|---|---|
| `look` | How one file stands: as it was, or changed by its owner, rotted, missing and so on |
| `known` | What is known of each file: its checksum, and when it was last right |
| `rounds` | Which files are read in a run: a round of all of them takes a month |
| `report` | What came of a run |
| `run` | One run: reads the files whose turn it is, and those in trouble once more |
| `repair` | Has `updatedata` fetch what the archive still has |
| `accept` | Takes a file as it is, because a person says that it is right |
| `summary` | When the last round ended, and what it found, for the page and doctor |
"""

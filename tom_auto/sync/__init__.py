"""`updatedata`: which records are due, what the observatories say, the data.

| module | what it does |
|---|---|
| `check_record` | Checks one record: asks for its status, fetches its frames, and says what came of it |
| `claims` | Who may store which frame where: claims in the database, made before a download begins |
| `db_retry` | Waits for a database that has gone away, or that another program keeps to itself |
| `due` | Which records are due, and when each is due again: rules 1 to 3 |
| `engine` | One run of `updatedata`: which records are due, who checks them, what came of it |
| `errors` | What can go wrong with a record or a facility. The type decides; the text is for a person |
| `explain` | Turns any exception into one of this package's own, with a text that a person can act on |
| `facilities` | Asks facility classes, each as it is, and turns what they answer into two plain things |
| `file_names` | Makes a file's name and place out of what an archive calls it: rule 9 |
| `frames` | Frames, as the archives of observatories and facility classes list them |
| `hooks` | Runs the hooks for new statuses and for saved data products, and owes those that fail |
| `http` | How requests leave the TOM: every wait ends, and a file arrives whole or not at all |
| `interrupt` | Lets a run that is told to stop end in order: recorded as ended, with nothing half done |
| `outcomes` | What came of checking one record, and of a whole run |
| `portal_lists` | What became of many observation requests at once, from the lists of a portal of LCO's kind |
| `prefetch` | Reads records from the database a moment before they are checked, some at a time |
| `previews` | Makes a JPEG of each stored image where AUTO_THUMBNAILS asks for it: rule 10 |
| `products` | Keeps frames as data products: a row means a whole, verified file (rules 6 to 9) |
| `redact` | Keeps secrets out of whatever is written down: rule 14 |
| `runs` | Keeps one run of a job at a time, and the history of runs |
| `storage` | Where the files of data products lie: on a disk of this host, or in a store such as S3 |
| `whole_file` | Tells a frame from what archives send in its stead: error pages, stumps, other bytes |
| `workers` | The workers of one facility: they take records in turn, and stop if it does not answer |
"""

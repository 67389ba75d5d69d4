"""`updatedata`: which records are due, what the observatories say, the data.

| module | what it does |
|---|---|
| `archive_lists` | Which frames many requests have, from the lists of an archive of LCO's kind: rule 17 |
| `bring_frames` | Brings home the frames of one record that are wanted and not here yet |
| `check_due` | Checks the records that are due: in a run, or in a batch that a worker has of one |
| `check_record` | Checks one record: asks for its status, fetches its frames, and says what came of it |
| `db_retry` | Waits for a database that has gone away, or that another program keeps to itself |
| `downloads` | Fetches files in constant memory and without credentials; each arrives whole, or not at all |
| `due` | Which records are due, and when each is due again: rules 1 to 3 |
| `engine` | One run of `updatedata`: which records are due, and what came of them |
| `errors` | What can go wrong with a record or a facility. The type decides; the text is for a person |
| `explain` | Turns any exception into one of this package's own, with a text that a person can act on |
| `facilities` | Asks facility classes, each as it is, and turns what they answer into plain things |
| `facility_jobs` | The facilities of a run: who asks each, and by which job |
| `facility_process` | Facility classes that are not of LCO's kind, each at work in a process of its own: rule 4 |
| `facility_saves` | What facility classes save by themselves gets what every saved frame gets: rules 4 and 10 |
| `file_names` | Makes a file's name and place out of what an archive calls it: rule 9 |
| `frame_index` | What the lists of an archive tell of each request. Memory has no room for 200,000 entries |
| `frame_plans` | What is kept of a record's frames already, and what there is to do about each |
| `frames` | Frames, as the archives of observatories and facility classes list them |
| `hooks` | Runs the hooks for new statuses, and owes those that fail |
| `hooks_owed` | Which saved data products owe hooks: rule 10 |
| `http` | How requests leave the TOM: every wait ends, and no answer is without a limit |
| `lease` | Prolongs a lease for as long as the work that it is for goes on |
| `outcomes` | What came of checking one record, and of a whole run |
| `portal_lists` | What became of many observation requests at once, from the lists of a portal of LCO's kind |
| `portal_pages` | Reads the pages of a list of a portal of LCO's kind, as far as they are worth it |
| `previews` | Makes a JPEG of each stored image where AUTO_THUMBNAILS asks for it: rule 10 |
| `product_hooks` | Runs the hooks for saved data products, with a lease: in the run, or in workers |
| `products` | Keeps frames as data products: a row means a whole, verified file (rules 6 to 9) |
| `reading_lists` | Has the lists of the observatories read, and hands on what they say |
| `record_outcomes` | Writes what came of some records of a run: when each is due again, and what failed |
| `recorded_run` | What surrounds the work of a run: its row, its deadline, its limits on requests and the database |
| `retries` | Which requests are made again, and when |
| `runs` | One run of a job at a time, and the history of runs |
| `sharing` | Who else works for a run: others may run its hooks, and check a part of its records |
| `started_by` | Who has started a run: the schedule, or a person |
| `storage_id` | The storage is the one that was there: it carries an id that the database knows: rule 7 |
| `storage` | Where the files of data products lie: on a disk of this host, or in a store such as S3 |
| `threads` | The threads of a run: they ask observatories and fetch files, and never touch the database |
| `together` | What the main thread does with the database for several records at once |
| `turns` | Lets as many threads ask a host at a time as keep the CPU at work |
| `whole_file` | Is a file whole, and what its name promises? Archives send error pages and stumps instead |
"""

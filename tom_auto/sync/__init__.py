"""`updatedata`: which records are due, what the observatories say, the data.

| module | what it does |
|---|---|
| `bring_frames` | Brings home the frames of one record that are wanted and not here yet |
| `check_due` | Checks the records that are due: in a run, or in a batch that a worker has of one |
| `check_record` | Checks one record: asks for its status, fetches its frames, and says what came of it |
| `due` | Which records are due, and when each is due again: rules 1 to 3 |
| `engine` | One run of `updatedata`: which records are due, and what came of them |
| `facility_jobs` | The facilities of a run: who asks each, and by which job |
| `facility_saves` | What facility classes save by themselves gets what every saved frame gets: rules 4 and 10 |
| `frame_files` | The file of a frame: what there is of it, or what its archive sends; in threads |
| `frame_plans` | What is kept of a record's frames already, and what there is to do about each |
| `previews` | Makes a JPEG of each stored image where AUTO_THUMBNAILS asks for it: rule 10 |
| `products` | The rows of frames: a row means a whole, verified file (rules 6 to 9) |
| `reading_lists` | Has the lists of the observatories read, before the first record is checked: rule 17 |
| `record_outcomes` | Writes what came of some records of a run: when each is due again, and what failed |
| `record_status` | Writes the new status of a record, and owes its hook until that has ended: rules 2 and 5 |
"""

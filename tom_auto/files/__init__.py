"""The files of data products: how they arrive, where they are kept, and whether they are whole.

| module | what it does |
|---|---|
| `downloads` | Fetches files in constant memory and without credentials; each arrives whole, or not at all |
| `disk_room` | Is there room on the disk for what is still to come? |
| `file_names` | Makes a file's name and place out of what an archive calls it: rule 9 |
| `local_file` | A stored file under a path of this host, for libraries that want one |
| `storage` | Where the files of data products lie: on a disk of this host, or in a store such as S3 |
| `storage_id` | The storage is the one that was there: it carries an id that the database knows: rule 7 |
| `whole_file` | Is a file whole, and what its name promises? Archives send error pages and stumps instead |
"""

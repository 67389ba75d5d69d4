"""`manage.py backup` and `restore`: the database and the data files, in one file that proves to be whole.

| module | what it does |
|---|---|
| `backup` | Makes a backup, and proves it before it counts |
| `backup_file` | The file of a backup: written, read, and proved to be whole |
| `data_folders` | The directories of the data: links, other disks, disks that are away |
| `database_copies` | Copies of the whole database, by SQLite's and PostgreSQL's own means |
| `restore` | Puts a backup in the place of what is there |
"""

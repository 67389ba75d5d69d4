"""What came in: the frames as pictures, and who is told of them.

| module | what it does |
|---|---|
| `models` | What is remembered: frames that came in, who wants to be told, what was sent |
| `numbers` | The numbers of frames: up to which one nothing more can come to light |
| `noting` | Notes the frames of a record as soon as they are stored |
| `drawing` | Draws small pictures of FITS images, in a process of its own that needs no Django |
| `drawing_program` | Starts that program, asks it, and ends it within a limit |
| `pictures` | Has the pictures of frames drawn, each once, and keeps them |
| `lost_pictures` | Forgets pictures that were removed, so that no page of tomtoolkit fails |
| `choosing` | Which frames a person wants to hear of, as far as they may see them, and when |
| `notices` | The messages to receivers, from the claim to the end: no frame is told twice |
| `letters` | What a message says: a mail in plain text and HTML, or JSON for a webhook |
| `illustrations` | The pictures of mails, for a limited time |
| `drawing_ahead` | Draws most pictures of mails while a run is at work |
| `mailing` | Sends a mail, and looks again before the server has it |
| `telling` | Tells those who want to know, at the end of a run |
| `wishes` | The pages and buttons where users choose which mails they get |
| `gallery` | The frames that came in as pictures, with filters |
| `feed` | The same for programs: JSON and Atom, with a key of each user |
"""

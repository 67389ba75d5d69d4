"""`updatetargets`: candidates of saved queries become targets. `updatecadences`: cadences go on.

`findrequests`: requests that were made elsewhere become observation records.

| module | what it does |
|---|---|
| `service_process` | A data service at work in a process of its own: its queries, and the data of targets |
| `accepted_records` | The records of what was accepted: those that are missing are made |
| `cadences` | One run of `updatecadences`: each active cadence is let go on, through the seam |
| `candidates` | Makes a target of a candidate, or refreshes the one that is known already |
| `ceiling` | How much cadences submit: in a run, in a day, and to a facility that refuses it |
| `facility_calls` | What strategies ask of facility classes: to submit, and to refresh a status |
| `find_requests` | One run of `findrequests`: which requests of the account's proposals no record has |
| `known_requests` | Which requests at a portal the TOM has, or will have: a cadence has submitted them |
| `left_open` | What earlier runs of `updatecadences` have left open, settled where that is possible |
| `listed_as_sent` | Whether a request group at a portal can be the one that was sent |
| `matches` | Which target of the TOM a request points at: by name, or else by position |
| `names` | Which target has a name, an alias or a position: asked before anything is saved |
| `one_record` | One request, one record: whoever else makes one meanwhile |
| `reduced_data` | Reduced data: a point that has changed is the same point |
| `portal_requests` | What the portals of LCO's kind list for each account: its proposals, and their requests |
| `portal_rows` | Requests as the portals of LCO's kind list them |
| `portal_shows` | What a portal lists that may be a submission: the request groups of its name |
| `portals` | Which facilities share a portal of LCO's kind: a request there is one request |
| `positions` | How far two positions are from each other |
| `report` | What came of a run of `updatetargets`, `updatecadences` or `findrequests` |
| `results` | What a result of a query says: a target that is not saved, and what goes with it |
| `rights` | Who may see a new observation record |
| `run` | One run of `updatetargets`: which queries, which targets, what came of each |
| `selection` | Which saved queries are run, and which targets have data at a service |
| `settle` | What became of submissions that have no clear end |
| `strategies` | How a cadence's strategy is run: because of which observation, and in UTC |
| `submissions` | The seam round `submit_observation`: what a cadence submits, it submits once for each trigger |
| `what_it_sees` | What a strategy sees of its observation group; in a dry run it leaves nothing behind |
| `wire` | What leaves the TOM while a facility class submits |
| `hidden_faults` | Faults that a data service keeps to itself, and calls an empty answer |
"""

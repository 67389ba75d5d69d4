"""`updatetargets`: candidates of saved queries become targets. `updatecadences`: cadences go on.

| module | what it does |
|---|---|
| `at_work` | A data service at work in a process of its own: its queries, and the data of targets |
| `cadences` | One run of `updatecadences`: each active cadence is let go on, through the seam |
| `candidates` | Makes a target of a candidate, or refreshes the one that is known already |
| `names` | Which target has a name, an alias or a position: asked before anything is saved |
| `points` | Reduced data: a point that has changed is the same point |
| `report` | What came of a run of `updatetargets` |
| `run` | One run of `updatetargets`: which queries, which targets, what came of each |
| `selection` | Which saved queries are run, and which targets have data at a service |
| `settle` | What became of submissions that have no clear end, and the records that they lack |
| `submissions` | The seam round `submit_observation`: what a cadence submits, it submits once for each trigger |
| `swallowed` | Faults that a data service keeps to itself, and calls an empty answer |
"""

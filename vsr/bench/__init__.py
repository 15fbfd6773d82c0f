"""How fast everything is on this machine, and how near to what the machine can do.

session.py         everything that is measured, in order, to be read first
request.py         what is asked for
clip.py            the clip that all see
ceiling.py         what the machine can do: products of matrices
networks.py        each network alone
stages.py          each stage of the river alone
river.py           a whole run of vsr, and how near it comes to its slowest stage
peer.py            the same beside the plain loop of the usual scripts
plain_loop.py      that loop               plain_networks.py  the networks as such scripts define them
rgb.py  pipes.py   RGB out of a film and into one: through PyAV, through two ffmpeg programs
process.py         runs in processes of their own     task.py  what they are told
calls.py           a network called on the frames of the clip, on the clock
spread.py          several runs as one figure
machine.py         the machine in words
results.py         all figures, ready for JSON        table.py  as text
"""

"""The list of a run that any number of workers take cases from, without a server and without locks.

    claims/<n>   the n-th block of the list: begins where the one before it ends
    tokens/…     one file for each block, by any name it has at an instant: who holds the block, and how much of it is begun
    again/<m>    the m-th token that was let go: given back, or made for a case that is to be tried once more
    taken/<m>    somebody has gone for it
    stop         nobody is to claim anything more

What has a text in claims/, tokens/ and again/ is a symbolic link that leads nowhere: name and text are made by one call, of two who
make the same name one fails, and no reader and no crash sees half a text. `claims/0` says so: the lists of older versions, which have
no such name, have files there.

Whoever is to begin a case renames its block's token first; whoever takes a block over renames it, too. A file has one name at a
time, so of two who want the same case one fails, however long either has slept. That is the whole fence: the numbered files only
say where to look, and what they say may be old.
"""

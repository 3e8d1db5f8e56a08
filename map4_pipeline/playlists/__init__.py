"""Sets: an order of tracks out of many that mixes well, follows an energy curve and keeps every wish.

`builder.build_set` is the way in. It takes plain columns (`pool.Pool`), a matrix of transition scores and `wishes.Wishes`, and
returns an order with what it costs, part by part. How the search works is described in docs/sets.md.
"""

"""Every file of the user's is read by `reading` and written by `writing`; `known` keeps account."""

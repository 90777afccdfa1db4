"""What the commands' JSON documents hold: the source of docs/schemas/.

A class stands for an object, a field for a key; as_json.py dumps them. Parts that are written as
they are found are the results' own classes. A verdict is null where there was no budget.
"""

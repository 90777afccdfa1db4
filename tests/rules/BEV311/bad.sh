bevdiag baseline write memory.json second.yaml
bevdiag preflight second.yaml --budget 22GiB --baseline memory.json --batch-size 8

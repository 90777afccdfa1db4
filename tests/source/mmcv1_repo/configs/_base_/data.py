data = {
    "samples_per_gpu": 2,
    "train": {
        "type": "QueueDataset",
        "queue_length": 3,
        "classes": ["car", "pedestrian"],
        "pipeline": [
            {"type": "LoadPointsFromFile", "load_dim": 5, "use_dim": 4},
            {"type": "LoadImages"},
            {"type": "ObjectSample"},
        ],
    },
}

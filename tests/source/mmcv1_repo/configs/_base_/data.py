data = dict(
    samples_per_gpu=2,
    train=dict(
        type="QueueDataset",
        queue_length=3,
        classes=["car", "pedestrian"],
        pipeline=[
            dict(type="LoadPointsFromFile", load_dim=5, use_dim=4),
            dict(type="LoadImages"),
            dict(type="ObjectSample"),
        ],
    ),
)

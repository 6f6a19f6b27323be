"""What pilots tell of the machines on which they run."""

from __future__ import annotations

from pandaserver.taskbuffer.schema.declare import big, decimal, number, table, time, word

Worker_Node = table(
    "ATLAS_PANDA.Worker_Node",
    "Machines by site and kind of processor, as pilots report them at their start.",
    word("site", 128, "site", key=True),
    word("host_name", 128, "name of the machine, without the slot", key=True),
    word("cpu_model", 128, "processor", key=True),
    number("n_logical_cpus"),
    number("n_sockets"),
    number("cores_per_socket"),
    number("threads_per_core"),
    word("cpu_architecture", 20),
    word("cpu_architecture_level", 20, "such as x86_64-v3"),
    decimal("clock_speed", 9, 2, "MHz"),
    big("total_memory", "MB"),
    time("last_seen", "UTC of the last report"),
    big("total_local_disk", "GB"),
    word("cpu_model_normalized", 128, "for comparisons with benchmarks; not filled here"),
)

Worker_Node_Queue = table(
    "ATLAS_PANDA.Worker_Node_Queue",
    "Queues whose pilots were seen on a machine.",
    word("site", 128, "site", key=True),
    word("host_name", 128, "name of the machine", key=True),
    word("panda_queue", 128, "queue", key=True),
    time("last_seen", "UTC of the last report"),
)

Worker_Node_GPUs = table(
    "ATLAS_PANDA.Worker_Node_GPUs",
    "GPUs of machines, one row for each model.",
    word("site", 128, "site", key=True),
    word("host_name", 128, "name of the machine", key=True),
    word("vendor", 128, key=True),
    word("model", 128, key=True),
    number("count", "how many of that model"),
    big("vram", "MB"),
    word("architecture", 128),
    word("framework", 128, "such as CUDA"),
    word("framework_version", 20),
    word("driver_version", 20),
    time("last_seen", "UTC of the last report"),
)

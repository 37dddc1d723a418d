"""How soon the workers of a cluster find out that one of them is lost."""

import tensorflow as tf


def set_timeouts(addresses: dict[str, list[str]], lost: float, registered: float) -> None:
    """Have the strategy that is made next use these; TensorFlow has no public way to say so.

    Args:
        addresses: Of the workers, by kind, the chief's kind first.
        lost: Seconds without a sign of life after which a worker is lost.
        registered: Seconds after which a worker that is there but does not join is.
    """
    from tensorflow.python.eager import context

    # An empty message of this type, which has changed its module several times.
    jobs = tf.compat.v1.ConfigProto().experimental.coordination_config.coordinated_job_list
    for kind, workers in addresses.items():
        jobs.add(name=kind, num_tasks=len(workers))
    # All but the times are as the strategy itself would have it.
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{jobs[0].name}/replica:0/task:0",
        cluster_register_timeout_in_ms=round(registered * 1000),
        heartbeat_timeout_in_ms=round(lost * 1000),
        coordinated_jobs=list(jobs),
    )

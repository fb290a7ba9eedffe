"""Regions of type ``ext:redis`` (one Redis server, or a service that Sentinel watches) and ``ext:rediscluster``."""

try:
    from .cluster_driver import ClusterStorage
    from .driver import RedisStorage
except ModuleNotFoundError as error:
    if error.name != 'redis':
        raise
    raise ImportError(
        'regions of type ext:redis and ext:rediscluster need redis-py: install pyramid_progress[redis]'
    ) from error

__all__ = ['ClusterStorage', 'RedisStorage']

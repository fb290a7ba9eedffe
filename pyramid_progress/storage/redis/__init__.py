"""Regions of type ``ext:redis``: one Redis server, or a service that Redis Sentinel watches."""

try:
    from .driver import RedisStorage
except ModuleNotFoundError as error:
    if error.name != 'redis':
        raise
    raise ImportError('a region of type ext:redis needs redis-py: install pyramid_progress[redis]') from error

__all__ = ['RedisStorage']

-- Pauses a queue, or lets it go on: no job of a paused queue is claimed; those that run go on.
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] queue name  ARGV[3] queue key  ARGV[4] 1: pause; 0: go on
-- Returns 1 where that changed anything, else 0

local now = clock(ARGV[1])
if ARGV[4] == '1' then return redis.call('HSETNX', 'paused-queues', ARGV[2], now) end
local changed = redis.call('HDEL', 'paused-queues', ARGV[2])
if changed == 1 then wake(ARGV[3], redis.call('ZCOUNT', ARGV[3], '-inf', now)) end
return changed

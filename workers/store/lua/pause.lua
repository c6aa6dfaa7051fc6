-- Pauses or resumes a queue. Jobs of a paused queue are not claimed; running ones continue.
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] queue name  ARGV[3] queue key  ARGV[4] 1: pause; 0: resume
-- Returns 1 if that changed anything, else 0

local now = clock(ARGV[1])
if ARGV[4] == '1' then return redis.call('HSETNX', 'paused-queues', ARGV[2], now) end
local changed = redis.call('HDEL', 'paused-queues', ARGV[2])
if changed == 1 then wake(ARGV[3], redis.call('ZCOUNT', ARGV[3], '-inf', now)) end
return changed

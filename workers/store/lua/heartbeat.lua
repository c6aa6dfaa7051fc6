-- Writes a worker's heartbeat and state, and removes workers whose last heartbeat has expired from the index. Also
-- removes jobs whose records have expired from their lists, in case no job ends and triggers that.
-- Uses library: lists
-- KEYS[1] queue key of arq's health record  KEYS[2] arq's health key
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] worker id  ARGV[3] how long this heartbeat is valid (ms)
-- ARGV[4] time of the first heartbeat (ms; 0: this one)
-- ARGV[5] arq's health record up to the number of queued jobs  ARGV[6] its life (ms)
-- then field, value of the worker's hash
-- Returns the time of the first heartbeat (ms)

local now, id, life = clock(ARGV[1]), ARGV[2], ARGV[3]
local worker, index, ENDED_MAX = 'worker:' .. id, 'workers', 5000
local started = ARGV[4] == '0' and now or tonumber(ARGV[4])
redis.call('DEL', worker) -- fields that no longer apply must not remain
redis.call('HSET', worker, 'started_ms', started, 'beat_ms', now, unpack(ARGV, 7))
redis.call('PEXPIRE', worker, life)
redis.call('ZADD', index, now, id)
redis.call('ZREMRANGEBYSCORE', index, '-inf', now - life)
redis.call('PEXPIRE', index, life)
redis.call('SET', KEYS[2], ARGV[5] .. redis.call('ZCARD', KEYS[1]), 'PX', ARGV[6])
end_lists(now, ENDED_MAX)
return started

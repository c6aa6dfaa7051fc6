-- Stores the result of a completed step, so that later attempts can reuse it. The first result is kept.
-- ARGV[1] now (ms; not used)  ARGV[2] id  ARGV[3] token  ARGV[4] step name  ARGV[5] result JSON
-- Returns the stored result; false: lost, another attempt owns the job

local id = ARGV[2]
local r = redis.call('HMGET', RECORD .. id, 'state', 'token')
if r[1] ~= 'running' or r[2] ~= ARGV[3] then return false end
redis.call('HSET', RECORD .. id, 'steps', 1, 'extras', 1)
redis.call('HSETNX', STEPS .. id, ARGV[4], ARGV[5])
return redis.call('HGET', STEPS .. id, ARGV[4])

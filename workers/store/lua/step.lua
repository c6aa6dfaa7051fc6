-- Keeps the result of a step that has run, so that a later attempt takes it from here. The first result stays.
-- ARGV[1] id  ARGV[2] token  ARGV[3] step name  ARGV[4] result JSON
-- Returns the kept result; false: lost, another attempt owns the job

local id = ARGV[1]
local r = redis.call('HMGET', RECORD .. id, 'state', 'token')
if r[1] ~= 'running' or r[2] ~= ARGV[2] then return false end
redis.call('HSET', RECORD .. id, 'steps', 1, 'extras', 1)
redis.call('HSETNX', STEPS .. id, ARGV[3], ARGV[4])
return redis.call('HGET', STEPS .. id, ARGV[3])

-- Reads the records of jobs.
-- ARGV[1] now (ms; not used)  ARGV[2] number of fields, then their names, then ids
-- Returns for each id a list of its fields' values, all nil if there is no such job

local count, answer = tonumber(ARGV[2]), {}
for i = count + 3, #ARGV do
  answer[#answer + 1] = redis.call('HMGET', RECORD .. ARGV[i], unpack(ARGV, 3, count + 2))
end
return answer

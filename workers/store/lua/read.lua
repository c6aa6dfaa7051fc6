-- Reads the records of jobs.
-- ARGV[1] number of fields, then their names, then ids
-- Returns for each id a list of its fields' values, none of them where there is no such job

local count, answer = tonumber(ARGV[1]), {}
for i = count + 2, #ARGV do
  answer[#answer + 1] = redis.call('HMGET', RECORD .. ARGV[i], unpack(ARGV, 2, count + 1))
end
return answer

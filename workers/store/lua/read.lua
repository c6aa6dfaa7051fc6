-- Reads the records of jobs.
-- ARGV[1] now (ms; not used)  ARGV[2] number of fields, then their names, then ids
-- Returns for each id a list of its fields' values, all nil if there is no such job

local count, answer = tonumber(ARGV[2]), {}
for i = count + 3, #ARGV do
  local values = redis.pcall('HMGET', RECORD .. ARGV[i], unpack(ARGV, 3, count + 2))
  if values.err then -- somebody else's value under this key: no record, and no harm to the others
    values = {}
    for n = 1, count do values[n] = false end
  end
  answer[#answer + 1] = values
end
return answer

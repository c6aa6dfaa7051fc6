-- Records the progress of jobs.
-- ARGV[1] now (ms; not used)
-- then for each job: id, token, progress JSON
-- Returns for each job: 'written'; or 'lost': another attempt owns it

local answer = {}
for i = 2, #ARGV, 3 do
  local id = ARGV[i]
  local r = redis.call('HMGET', RECORD .. id, 'state', 'token', 'version', 'attempt', 'tenant')
  if r[1] ~= 'running' or r[2] ~= ARGV[i + 1] then
    answer[#answer + 1] = 'lost'
  else
    redis.call('HSET', RECORD .. id, 'progress', ARGV[i + 2], 'version', r[3] + 1)
    add_event(r[5] or DEFAULT_TENANT, id, 'progress', r[4], ARGV[i + 2])
    trim_events(id)
    answer[#answer + 1] = 'written'
  end
end
write_feeds()
return answer

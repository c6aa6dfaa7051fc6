-- Extends leases.
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] lease (ms)
-- then for each job: id, token, queue key
-- Returns for each job: 'renewed'; 'cancel': renewed, but cancellation was requested; 'lost': another attempt owns it

local now, lease, answer, abort = clock(ARGV[1]), tonumber(ARGV[2]), {}, has_aborts()
for i = 3, #ARGV, 3 do
  local id, token, queue = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local r = redis.call('HMGET', RECORD .. id, 'state', 'token', 'cancel_ms')
  if r[1] ~= 'running' or r[2] ~= token then
    answer[#answer + 1] = 'lost'
  else
    redis.call('ZADD', queue, now + lease, id)
    redis.call('SET', LEASE .. id, now + lease, 'PX', lease)
    answer[#answer + 1] = (r[3] or abort and redis.call('ZSCORE', ABORT, id)) and 'cancel' or 'renewed'
  end
end
return answer

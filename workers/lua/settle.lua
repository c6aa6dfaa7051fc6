-- Ends attempts: the one write that moves jobs on from running. Each job is checked before its first write.
-- ARGV[1] now (ms, 0: the server's clock)
-- then for each job: id, token, queue key, next state, delay (ms) until it is due again, attempts this run gives back
--   (1 for an interrupt or a parked job, else 0), interrupts to add, progress JSON or '', result JSON or '', failure JSON
--   or '', event data JSON or '', arq's result or '', its life (ms; 0: not kept, -1: for ever), retention of the record
--   (ms), how long the lease key stays (ms; a cron job's id counts as running for a while), max attempts (0: known)
-- Returns for each job: 'settled'; 'lost': another attempt owns it; 'cancel': it would run again, but a person asked to
--   cancel it, and nothing was written

local PER_JOB = 16
local now, answer, due, abort = clock(ARGV[1]), {}, {}, redis.call('EXISTS', ABORT) == 1
local ended, dead_keys = {}, {}

local function finish(id, queue, fields, arq_result, keep, keep_lease)
  fields[#fields + 1], fields[#fields + 2] = 'finished_ms', now
  local envelope = redis.call('GET', ENVELOPE .. id)
  if envelope then fields[#fields + 1], fields[#fields + 2] = 'envelope', envelope end
  redis.call('HSET', RECORD .. id, unpack(fields))
  dead_keys[#dead_keys + 1] = ENVELOPE .. id
  if keep_lease ~= '0' then
    redis.call('SET', LEASE .. id, now, 'PX', keep_lease)
  else
    dead_keys[#dead_keys + 1] = LEASE .. id
  end
  ended[queue] = ended[queue] or {}
  table.insert(ended[queue], id)
  if abort then redis.call('ZREM', ABORT, id) end
  if arq_result == '' or keep == '0' then return end
  if keep == '-1' then redis.call('SET', RESULT .. id, arq_result)
  else redis.call('SET', RESULT .. id, arq_result, 'PX', keep) end
end

local function settle(i)
  local id, queue, state = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  local r = redis.call('HMGET', RECORD .. id, 'state', 'token', 'version', 'attempt', 'interrupts', 'cancel_ms',
    'steps')
  if r[1] ~= 'running' or r[2] ~= ARGV[i + 1] or not may_move('running', state) then return 'lost' end
  local terminal = next(MOVES[state]) == nil
  if not terminal and r[6] then return 'cancel' end

  local attempt = r[4]
  local fields = { 'state', state, 'version', r[3] + 1 }
  local function put(name, value) fields[#fields + 1], fields[#fields + 2] = name, value end
  if ARGV[i + 7] ~= '' then put('progress', ARGV[i + 7]) end
  if ARGV[i + 8] ~= '' then put('result', ARGV[i + 8]) end
  if ARGV[i + 9] ~= '' then put('failure', ARGV[i + 9]) end
  if ARGV[i + 15] ~= '0' then put('max_attempts', ARGV[i + 15]) end
  if terminal then
    finish(id, queue, fields, ARGV[i + 11], ARGV[i + 12], ARGV[i + 14])
  else
    local at = now + tonumber(ARGV[i + 4])
    attempt = attempt - ARGV[i + 5]
    put('attempt', attempt)
    put('interrupts', (r[5] or 0) + ARGV[i + 6])
    if state == 'retrying' then put('due_ms', at) end
    redis.call('HSET', RECORD .. id, unpack(fields))
    redis.call('DEL', LEASE .. id)
    redis.call('ZADD', queue, at, id)
    if at <= now then due[queue] = (due[queue] or 0) + 1 end
  end
  add_event(id, state, r[4], ARGV[i + 10] ~= '' and ARGV[i + 10] or nil)
  if terminal then expire(id, ARGV[i + 13], r[7]) else trim_events(id) end
  return 'settled'
end

for i = 2, #ARGV, PER_JOB do answer[#answer + 1] = settle(i) end
for queue, ids in pairs(ended) do call_with_many('ZREM', queue, ids) end
if #dead_keys > 0 then call_with_many('DEL', dead_keys[1], dead_keys) end
for queue, jobs in pairs(due) do wake(queue, jobs) end
return answer

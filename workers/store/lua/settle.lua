-- Settles attempts: the only write that moves jobs on from running. Each job is checked before its first write.
-- Uses library: lists, accepting, ending
-- ARGV[1] now (ms, 0: the server's clock)
-- then for each job: id, token, queue key, next state, retention of the record (ms), result JSON or '', arq's result
--   or '', its life (ms; 0: not kept, -1: forever), and '' or a JSON object with optional parts:
--     delay: ms until it is due again            back: attempts to subtract (after an interrupt, or for a parked job)
--     interrupts: number to add                  progress, failure: JSON for the record
--     event: the event's data, as JSON           keep_lease: ms for which a cron job's id still counts as running
--     max_attempts: if the record lacks it       fingerprint: of the failure, if the job has failed for good
-- Returns for each job: 'settled'; 'lost': another attempt owns it; 'cancel': it would run again, but its cancellation
--   was requested, so nothing was written

local PER_JOB, NOTHING = 9, {}
local now, answer, due, abort = clock(ARGV[1]), {}, {}, has_aborts()
local ended, dead_keys, kept_envelopes = {}, {}, {} -- envelopes by their job's index in ARGV

local function read_envelopes()
  for first = 2, #ARGV, PER_JOB * 1000 do
    local keys = {}
    for i = first, math.min(first + PER_JOB * 999, #ARGV), PER_JOB do keys[#keys + 1] = ENVELOPE .. ARGV[i] end
    for n, envelope in ipairs(redis.call('MGET', unpack(keys))) do kept_envelopes[first + (n - 1) * PER_JOB] = envelope end
  end
end

local function put(fields, name, value)
  local n = #fields
  fields[n + 1], fields[n + 2] = name, value
end

local function finish(i, fields, more, r)
  local id, queue, state, retention, arq_result, keep = ARGV[i], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 6], ARGV[i + 7]
  local kind, tenant = r[5], r[6] or DEFAULT_TENANT
  local envelope = kept_envelopes[i]
  put(fields, 'finished_ms', now)
  if envelope then put(fields, 'envelope', envelope) end
  redis.call('HSET', RECORD .. id, unpack(fields))
  local dead = #dead_keys
  dead_keys[dead + 1] = ENVELOPE .. id
  if more.keep_lease then redis.call('SET', LEASE .. id, now, 'PX', more.keep_lease) else dead_keys[dead + 2] = LEASE .. id end
  ended[queue] = ended[queue] or {}
  ended[queue][#ended[queue] + 1] = id
  if abort then redis.call('ZREM', ABORT, id) end
  if arq_result ~= '' and keep == '-1' then
    redis.call('SET', RESULT .. id, arq_result)
  elseif arq_result ~= '' and keep ~= '0' then
    redis.call('SET', RESULT .. id, arq_result, 'PX', keep)
  end
  join_list(state, tenant, r[7], kind, r[8], id, retention)
  if more.fingerprint then bury(tenant, id, more.fingerprint, now, retention) end
  if r[10] then end_extras(id, tenant, kind, state, now, retention) end
  expire(id, retention)
end

local function requeue(i, fields, more, r)
  local id, queue, state = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  local at = now + (more.delay or 0)
  put(fields, 'attempt', r[4] - (more.back or 0))
  if state == 'retrying' then
    local event = more.event and cjson.decode(more.event) or NOTHING
    note_attempt(id, now, 'failed', event.code, event.message)
    put(fields, 'due_ms', at)
  elseif more.interrupts then -- otherwise it was parked, which does not count as an attempt
    note_attempt(id, now, 'interrupted')
    put(fields, 'interrupts', (redis.call('HGET', RECORD .. id, 'interrupts') or 0) + more.interrupts)
  end
  join_list(state, r[6] or DEFAULT_TENANT, r[7], r[5], r[8], id)
  redis.call('HSET', RECORD .. id, unpack(fields))
  redis.call('DEL', LEASE .. id)
  redis.call('ZADD', queue, at, id)
  if at <= now then due[queue] = (due[queue] or 0) + 1 end
  trim_events(id)
end

local function settle(i)
  local id, state = ARGV[i], ARGV[i + 3]
  local r = redis.call('HMGET', RECORD .. id, 'state', 'token', 'version', 'attempt', 'kind', 'tenant', 'queue', 'created_ms',
    'started_ms', 'extras')
  if r[1] ~= 'running' or r[2] ~= ARGV[i + 1] or not may_move('running', state) then return 'lost' end
  local terminal = next(MOVES[state]) == nil
  if not terminal and redis.call('HEXISTS', RECORD .. id, 'cancel_ms') == 1 then return 'cancel' end

  local more = ARGV[i + 8] ~= '' and cjson.decode(ARGV[i + 8]) or NOTHING
  local fields, tenant = { 'state', state, 'version', r[3] + 1 }, r[6] or DEFAULT_TENANT
  if ARGV[i + 5] ~= '' then put(fields, 'result', ARGV[i + 5]) end
  if more.progress then put(fields, 'progress', more.progress) end
  if more.failure then put(fields, 'failure', more.failure) end
  if more.max_attempts then put(fields, 'max_attempts', more.max_attempts) end
  add_event(tenant, id, state, r[4], more.event) -- before the events it leads to: the end of its batch, its callback
  leave_list('running', tenant, r[7], r[5], id)
  if state ~= 'queued' then note_run_time(r[5], r[9]) end
  if terminal then finish(i, fields, more, r) else requeue(i, fields, more, r) end
  return 'settled'
end

read_envelopes()
for i = 2, #ARGV, PER_JOB do answer[#answer + 1] = settle(i) end
for queue, ids in pairs(ended) do call_with_many('ZREM', queue, ids) end
if #dead_keys > 0 then call_with_many('DEL', dead_keys[1], dead_keys) end
for queue, jobs in pairs(due) do wake(queue, jobs) end
write_accepted()
write_all(now)
return answer

-- Claims up to `want` due jobs of a queue for a worker. A claimed id stays in the zset with the end of its lease as its
-- score: no claim sees it while it is running, and it becomes due again by itself if its worker is lost.
-- Uses library: lists, adopting
-- KEYS[1] queue key
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] want  ARGV[3] lease (ms)
-- ARGV[4] worker id  ARGV[5] prefix of this claim's tokens, never used before
-- ARGV[6] number of jobs on probation that the worker is running: those rescued more than once
-- ARGV[7...] prefixes of the tokens of earlier claims by this worker whose answers it has not received
-- Returns {now, score of the queue's first id (-1: empty),
--          then for each job: id, token, kind ('': unknown), attempt, rescues, max attempts ('': unknown),
--          created (ms), due (ms), cancel (1: requested, else 0), envelope ('': gone), deadline (ms; '': none)}
-- For a paused queue: {now, -1}

local ABORT_MS, APART_MS, UNREADABLE_MS, NOTHING = 86400000, 500, 60000, {}
local queue, now, want, lease = KEYS[1], clock(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local abort = has_aborts()
if abort then redis.call('ZREMRANGEBYSCORE', ABORT, '-inf', now - ABORT_MS) end
local answer, leased, got, looked, suspects = { now, -1 }, {}, 0, 0, tonumber(ARGV[6])

local queue_name = queue == 'arq:queue' and 'default' or string.match(queue, '^arq:queue:(.+)$') or '=' .. queue
if redis.call('HEXISTS', 'paused-queues', queue_name) == 1 then
  redis.call('DEL', 'wake:' .. queue)
  return { now, -1 }
end

-- What those earlier claims took is due again, as if they had not been: nobody was lost while running it.
local unheard = {}
if ARGV[7] then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', queue, '(' .. now, now + lease, 'LIMIT', 0, 10000)) do
    local token = redis.call('HGET', RECORD .. id, 'token') or ''
    for i = 7, #ARGV do
      if string.sub(token, 1, #ARGV[i]) == ARGV[i] then
        unheard[id] = true
        redis.call('DEL', LEASE .. id)
        redis.call('ZADD', queue, now, id)
      end
    end
  end
end

local function take(id, score, envelope)
  if not is_utf8(id) then
    redis.call('ZREM', queue, id) -- no id of ours or of arq's, so nobody could ever read or settle the job
    return
  end
  local r = redis.call('HMGET', RECORD .. id, 'state', 'kind', 'attempt', 'max_attempts', 'created_ms', 'due_ms', 'version',
    'tenant', 'deadline_ms')
  if not r[1] or next(MOVES[r[1]]) == nil then r = adopt(id, r, envelope, score, queue_name, now) end
  local state, tenant, attempt = r[1], r[8] or DEFAULT_TENANT, tonumber(r[3] or 0)
  local old = r[3] and redis.call('HMGET', RECORD .. id, 'rescues', 'cancel_ms') or NOTHING -- claimed before
  local rescues = tonumber(old[1] or 0)
  if not may_move(state, 'running') then
    redis.call('ZREM', queue, id) -- it has ended; a stock client's abort or a repeated cron run has put it back
    redis.call('ZREM', ABORT, id)
    redis.call('DEL', ENVELOPE .. id)
    return
  elseif state == 'running' then
    local lease_end = tonumber(redis.call('GET', LEASE .. id) or 0)
    if lease_end > now then
      leased[#leased + 1], leased[#leased + 2] = lease_end, id -- moved by a stock client's abort; the lease is valid
      return
    end
    if rescues > 0 and suspects > 0 and not unheard[id] then
      -- Both this job and another that the worker is running or has just claimed have lost workers before. Either may
      -- be a poison job, so they run apart: the others should not be lost with it.
      leased[#leased + 1], leased[#leased + 2] = now + suspects * APART_MS, id
      suspects = suspects + 1
      return
    end
    if rescues > 0 then suspects = 1 end
    if not unheard[id] then
      rescues = rescues + 1
      note_attempt(id, now, 'worker_lost')
      redis.call('HSET', RECORD .. id, 'rescues', rescues)
    end
  end
  if attempt > 0 then redis.call('HDEL', RECORD .. id, 'progress') end -- from an earlier attempt
  if state ~= 'running' then
    attempt = attempt + 1
    leave_list(state, tenant, queue_name, r[2], id)
    join_list('running', tenant, queue_name, r[2], r[5], id)
  end
  local token = ARGV[5] .. got
  redis.call('HSET', RECORD .. id, 'state', 'running', 'attempt', attempt, 'started_ms', now, 'worker', ARGV[4],
    'token', token, 'version', r[7] + 1)
  leased[#leased + 1], leased[#leased + 2] = now + lease, id
  redis.call('SET', LEASE .. id, now + lease, 'PX', lease)
  add_event(tenant, id, 'running', attempt == 1 and '1' or attempt) -- a string saves a conversion
  local asked = abort and tonumber(redis.call('ZSCORE', ABORT, id) or 0) or 0
  local stale = asked > 0 and asked < tonumber(r[5]) -- meant for an earlier job with this id
  if stale then redis.call('ZREM', ABORT, id) end
  local cancel = (old[2] or asked > 0 and not stale) and 1 or 0
  local at = #answer
  answer[at + 1], answer[at + 2], answer[at + 3], answer[at + 4], answer[at + 5] = id, token, r[2], attempt, rescues
  answer[at + 6], answer[at + 7], answer[at + 8] = r[4] or '', r[5], r[6]
  answer[at + 9], answer[at + 10], answer[at + 11] = cancel, envelope or '', r[9] or ''
  got = got + 1
end

-- Removes what is not ours from a job's keys and, if that was not enough, its record, as if a stock producer had
-- enqueued the job; after that the job waits.
local function mend(id, faults)
  if faults == 2 then redis.call('DEL', RECORD .. id) end
  if faults == 3 then leased[#leased + 1], leased[#leased + 2] = now + UNREADABLE_MS, id end
  local types = { [RECORD .. id] = 'hash', [EVENTS .. id] = 'stream', [STEPS .. id] = 'hash', [LEASE .. id] = 'string' }
  for key, own in pairs(types) do
    if redis.call('TYPE', key).ok ~= own then redis.call('DEL', key) end
  end
end

-- Every id examined leaves the due range, so each iteration reads new ones. The limit keeps a call short even if a
-- stock client has put back many ended jobs.
while got < want and looked < want + 1000 do
  local due = redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'WITHSCORES', 'LIMIT', 0, want - got)
  if #due == 0 then break end
  local envelopes = {}
  for i = 1, #due, 2 do envelopes[#envelopes + 1] = ENVELOPE .. due[i] end
  envelopes = redis.call('MGET', unpack(envelopes))
  for i = 1, #due, 2 do
    local id, score, envelope = due[i], tonumber(due[i + 1]), envelopes[(i + 1) / 2]
    for faults = 1, 3 do -- one job whose keys hold what is not ours holds up no other
      if pcall(take, id, score, envelope) then break end
      mend(id, faults)
    end
  end
  call_with_many('ZADD', queue, leased)
  leased = {}
  looked = looked + #due / 2
end

local first = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
if #first > 0 then answer[2] = first[2] end
if #first > 0 and tonumber(first[2]) <= now then wake(queue, 1) else redis.call('DEL', 'wake:' .. queue) end
if got > 0 then count(queue_name, 'started', got) end
write_all(now)
return answer

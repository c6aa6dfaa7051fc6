-- Takes up to `want` due jobs of one queue for a worker. A claimed id stays in the zset, its score moved to the lease's
-- end: nobody scans it while it runs, and it is due again by itself when its worker is gone.
-- Uses library: lists, adopting
-- KEYS[1] queue key
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] want  ARGV[3] lease (ms)
-- ARGV[4] worker id  ARGV[5] prefix of this claim's tokens: never used before
-- ARGV[6] jobs on probation that the worker runs: rescued more than once
-- Returns {now, score of the queue's first id or -1: empty,
--          then for each job: id, token, kind ('': not known), attempt, rescues, max attempts ('': not known),
--          created (ms), due (ms), cancel: 1 asked for or 0, envelope or '': gone, deadline (ms) or '': none}
-- A paused queue gives {now, -1}

local ABORT_MS, APART_MS, NOTHING = 86400000, 500, {}
local queue, now, want, lease = KEYS[1], clock(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local abort = redis.call('EXISTS', ABORT) == 1
if abort then redis.call('ZREMRANGEBYSCORE', ABORT, '-inf', now - ABORT_MS) end
local answer, leased, got, looked, suspects = { now, -1 }, {}, 0, 0, tonumber(ARGV[6])

local queue_name = queue == 'arq:queue' and 'default' or string.match(queue, '^arq:queue:(.+)$') or '=' .. queue
if redis.call('HEXISTS', 'paused-queues', queue_name) == 1 then
  redis.call('DEL', 'wake:' .. queue)
  return { now, -1 }
end

local function take(id, score, envelope)
  local r = redis.call('HMGET', RECORD .. id, 'state', 'kind', 'attempt', 'max_attempts', 'created_ms', 'due_ms', 'version',
    'tenant', 'deadline_ms')
  if not r[1] or next(MOVES[r[1]]) == nil then r = adopt(id, r, envelope, score, queue_name, now) end
  local state, tenant, attempt = r[1], r[8] or DEFAULT_TENANT, tonumber(r[3] or 0)
  local old = r[3] and redis.call('HMGET', RECORD .. id, 'rescues', 'cancel_ms') or NOTHING -- it was claimed before
  local rescues = tonumber(old[1] or 0)
  if not may_move(state, 'running') then
    redis.call('ZREM', queue, id) -- it has ended: a stock client's abort put it back, or it is a cron run's echo
    redis.call('ZREM', ABORT, id)
    redis.call('DEL', ENVELOPE .. id)
    return
  elseif state == 'running' then
    local lease_end = tonumber(redis.call('GET', LEASE .. id) or 0)
    if lease_end > now then
      leased[#leased + 1], leased[#leased + 2] = lease_end, id -- a stock client's abort moved it; its lease still holds
      return
    end
    if rescues > 0 and suspects > 0 then
      -- It has lost a worker before, as has one that this call takes already. One of them may kill its workers, and the
      -- others should not die with it: they run apart.
      leased[#leased + 1], leased[#leased + 2] = now + suspects * APART_MS, id
      suspects = suspects + 1
      return
    end
    if rescues > 0 then suspects = 1 end
    rescues = rescues + 1
    note_attempt(id, now, 'worker_lost')
    redis.call('HSET', RECORD .. id, 'rescues', rescues)
  end
  if attempt > 0 then redis.call('HDEL', RECORD .. id, 'progress') end -- an earlier attempt's
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
  add_event(tenant, id, 'running', attempt == 1 and '1' or attempt) -- a text need not be made twice
  local asked = abort and tonumber(redis.call('ZSCORE', ABORT, id) or 0) or 0
  local stale = asked > 0 and asked < tonumber(r[5]) -- it was meant for an earlier job of this id
  if stale then redis.call('ZREM', ABORT, id) end
  local cancel = (old[2] or asked > 0 and not stale) and 1 or 0
  local at = #answer
  answer[at + 1], answer[at + 2], answer[at + 3], answer[at + 4], answer[at + 5] = id, token, r[2], attempt, rescues
  answer[at + 6], answer[at + 7], answer[at + 8] = r[4] or '', r[5], r[6]
  answer[at + 9], answer[at + 10], answer[at + 11] = cancel, envelope or '', r[9] or ''
  got = got + 1
end

-- Every id that is looked at leaves the due range, so each turn of the loop reads new ones. The bound on them keeps one
-- call short when a stock client has put many ended jobs back.
while got < want and looked < want + 1000 do
  local due = redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'WITHSCORES', 'LIMIT', 0, want - got)
  if #due == 0 then break end
  local envelopes = {}
  for i = 1, #due, 2 do envelopes[#envelopes + 1] = ENVELOPE .. due[i] end
  envelopes = redis.call('MGET', unpack(envelopes))
  for i = 1, #due, 2 do take(due[i], tonumber(due[i + 1]), envelopes[(i + 1) / 2]) end
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

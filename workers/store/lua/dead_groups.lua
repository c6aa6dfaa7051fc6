-- Lists a page of a tenant's groups of dead letters, latest failure first. A group has jobs whose failures have the
-- same fingerprint. Jobs at both ends of a group whose records have expired, mostly the earliest, are removed from it.
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] tenant  ARGV[3] groups to skip  ARGV[4] groups to return
-- Returns {total groups, then for each: fingerprint, number of jobs, first and latest failure (ms), latest job's id}

local PORTION, FORGOTTEN_MAX = 100, 2000
local tenant, skip, limit, forgotten = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), 0
local groups = 'dead-groups:' .. tenant

local function forget_gone(group, ...)
  repeat
    local ids, gone = redis.call('ZRANGE', group, 0, PORTION - 1, ...), {}
    for _, id in ipairs(ids) do
      if redis.call('EXISTS', RECORD .. id) == 1 then break end
      gone[#gone + 1] = id
    end
    call_with_many('ZREM', group, gone)
    forgotten = forgotten + #gone
  until #gone < PORTION or forgotten >= FORGOTTEN_MAX
end

local answer, listed = { 0 }, 0
while listed < limit do
  local fingerprint = redis.call('ZRANGE', groups, skip + listed, skip + listed, 'REV')[1]
  if not fingerprint then break end
  local group = 'dead:' .. tenant .. ':' .. fingerprint
  forget_gone(group)
  forget_gone(group, 'REV')
  local first = redis.call('ZRANGE', group, 0, 0, 'WITHSCORES')
  local last = redis.call('ZRANGE', group, -1, -1, 'WITHSCORES')
  if first[1] then
    local n = #answer
    answer[n + 1], answer[n + 2], answer[n + 3] = fingerprint, redis.call('ZCARD', group), first[2]
    answer[n + 4], answer[n + 5] = last[2], last[1]
    listed = listed + 1
  else
    redis.call('ZREM', groups, fingerprint)
  end
end
answer[1] = redis.call('ZCARD', groups)
return answer

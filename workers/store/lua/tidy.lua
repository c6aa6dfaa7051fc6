-- Removes from some lists the jobs whose records are gone: a record ends by itself, its place in a list does not. Most are
-- at a list's beginning, for jobs end about in the order in which they came; those that did not are found by looking at some
-- other place, too, as Redis itself finds expired keys. One worker at a time tidies.
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] worker id  ARGV[3] how long the office of tidying lasts (ms)
-- ARGV[4] ids to look at, at most  ARGV[5] random number, from 0 to below 1
-- Returns {ids looked at, ids removed}; or {} where another worker tidies

local LISTS, PORTION, LIST_NAMES, TAG_NAMES = 10, 100, 'lists:', 'tags:'
local left, random, looked, removed = tonumber(ARGV[4]), tonumber(ARGV[5]), 0, 0

local holder = redis.call('GET', 'tidier')
if holder and holder ~= ARGV[2] then return {} end
redis.call('SET', 'tidier', ARGV[2], 'PX', ARGV[3])

-- Returns those of some ids that have no record. Mostly all have one, which a single command tells.
local function gone_of(ids)
  local records, gone = {}, {}
  for i, id in ipairs(ids) do records[i] = RECORD .. id end
  if #ids == 0 or redis.call('EXISTS', unpack(records)) == #ids then return gone end
  for i, id in ipairs(ids) do
    if redis.call('EXISTS', records[i]) == 0 then gone[#gone + 1] = id end
  end
  return gone
end

-- Looks at the jobs from a place of a list on, for as long as many of them are gone.
local function clear(key, place)
  repeat
    local ids = redis.call('ZRANGE', key, place, place + math.min(PORTION, left) - 1)
    local gone = gone_of(ids)
    call_with_many('ZREM', key, gone)
    left, looked, removed = left - #ids, looked + #ids, removed + #gone
  until #gone * 10 <= #ids or left <= 0
end

local function tidy(key, names, name)
  clear(key, 0)
  local rest = redis.call('ZCARD', key)
  if rest > PORTION and left > 0 then clear(key, math.floor(random * rest)) end
  if rest == 0 then redis.call('SREM', names, name) end
end

local tenant = redis.call('SRANDMEMBER', 'tenants')
if not tenant then return { 0, 0 } end
local found = {}
for _, name in ipairs(redis.call('SRANDMEMBER', LIST_NAMES .. tenant, LISTS)) do
  local state, queue, kind = string.match(name, '^([^\31]*)\31([^\31]*)\31(.*)$')
  found[#found + 1] = { 'jobs:' .. state .. ':' .. tenant .. ':' .. queue .. ':' .. kind, LIST_NAMES .. tenant, name }
end
for _, tag in ipairs(redis.call('SRANDMEMBER', TAG_NAMES .. tenant, LISTS)) do
  found[#found + 1] = { 'tag:' .. tenant .. ':' .. tag, TAG_NAMES .. tenant, tag }
end
for n = 1, #found do
  if left > 0 then tidy(unpack(found[(n + math.floor(random * #found)) % #found + 1])) end
end
if redis.call('EXISTS', LIST_NAMES .. tenant, TAG_NAMES .. tenant) == 0 then redis.call('SREM', 'tenants', tenant) end
return { looked, removed }

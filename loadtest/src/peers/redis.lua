-- What Stampbook does with an earn, in Redis. KEYS: the command, the member. ARGV: the amount, 1 where the campaign doubles it, the member's id.
-- A known key answers what it answered first, or nothing where the command was another one.
local body = ARGV[3] .. ' ' .. ARGV[1] .. ' ' .. ARGV[2]
local known = redis.call('GET', KEYS[1])
if known then
    local awarded, balance, first = string.match(known, '^(%d+) (%-?%d+) (.*)$')
    if first == body then
        return {tonumber(awarded), tonumber(balance), 1}
    end
    return {}
end
local base = math.floor(tonumber(ARGV[1]) / 100)
local extra = 0
if ARGV[2] == '1' then
    extra = math.min(base, tonumber(redis.call('GET', 'campaign')))
    redis.call('DECRBY', 'campaign', extra)
end
redis.call('INCRBY', 'issued', base)
local balance = redis.call('INCRBY', KEYS[2], base + extra)
redis.call('SET', KEYS[1], string.format('%d %d %s', base + extra, balance, body))
return {base + extra, balance, 0}

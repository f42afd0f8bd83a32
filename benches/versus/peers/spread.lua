-- Each request is for another of @COUNT@ things, drawn by chance.
math.randomseed(os.time())
local count, before, after = @COUNT@, "@BEFORE@", "@AFTER@"
request = function()
  return before .. math.random(count) .. after
end
